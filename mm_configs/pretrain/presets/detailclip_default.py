"""DetailCLIP as released, with its one plain mistake mended: over-long captions keep their end-of-text token.

Without it the text tower reads the start token, and all such captions have one and the same embedding.
"""

_base_ = ["detailclip_released.py"]

captions = dict(overflow="keep_eot")
