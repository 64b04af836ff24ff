"""Zero-shot classification as SLIP, A-CLIP and DetailCLIP evaluate it: Table 3, and ImageNet-1K of Tables 2 and 4.

What differs between the data sets (official size, classes, prompts) is in their own declarations and vocabularies.
"""

split = None
class_order = "list"
pictures = None

execution = dict(batch_size=64, workers=2)

quick = dict(pictures=200)
