"""From the network's logits to decisions: each part is chosen on validation.

temperature        make probabilities mean what they say, and measure whether they do
operating_point    choose a threshold by a stated rule
conformal          sets of classes with a promised coverage
ood                the out-of-distribution (OOD) detector
"""
