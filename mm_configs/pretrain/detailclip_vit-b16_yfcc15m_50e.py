"""DetailCLIP, ViT-B/16, 50 epochs of YFCC15M: Tables 1 to 3. The released checkpoint was trained so."""

_base_ = ["detailclip_vit-b16_yfcc15m_25e.py"]

row = "DetailCLIP@50"
training = dict(epochs=50)
