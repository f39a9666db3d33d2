"""What tells the classes or the parts apart without the content: shortcuts, shift, odd images.

    sample      some images of every patient, so that looking stays quick
    headers     what the file says of itself
    features    what the eye of a probe sees: tone, border, corners, a thumbnail
    score       how well a small model tells labels apart by it, by patients
    shortcuts   the classes
    shift       train from test
    odd         single images that are unlike the rest
    findings    what it comes to, in sentences
    probe       all of it together

A network can only be trusted to read the content where these cannot do nearly as well.
"""

from __future__ import annotations

from lucency.probes.probe import Probes, probe

__all__ = ["Probes", "probe"]
