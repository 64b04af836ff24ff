"""Table 4: weights 0.5, 0.5, 0.5 of the CLS, patch and reconstruction losses."""

_base_ = ["detailclip_vit-b16_yfcc15m_25e.py"]

row = "DetailCLIP(0.5,0.5,0.5)@25"
fields = dict(alpha_cls=0.5, alpha_patch=0.5, alpha_reconstruction=0.5)
