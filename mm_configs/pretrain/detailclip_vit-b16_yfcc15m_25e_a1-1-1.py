"""Table 4: weights 1, 1, 1 of the CLS, patch and reconstruction losses."""

_base_ = ["detailclip_vit-b16_yfcc15m_25e.py"]

row = "DetailCLIP@25"
fields = dict(alpha_cls=1.0, alpha_patch=1.0, alpha_reconstruction=1.0)
