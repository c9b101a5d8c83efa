"""The same-work certificate: does a loader deliver what every other one delivers?

making.py       all checks of one loader       keeping.py      certificates of earlier runs
heldout.py      the val checks                 train.py        the train checks
distributions.py, repeats.py: the crops that are drawn, against torchvision's
augmenting.py   angles and noise, against torchvision's and torch's
texture.py      their pixels, against Pillow's
images.py       the certificate's own images   coordinates.py  crops' boxes, read off pixels
reference.py    Pillow and torchvision         delivery.py     what a loader delivers
"""

from throughput.certificate.keeping import cached_certificate, kept_certificate
from throughput.certificate.making import make_certificate

__all__ = ["cached_certificate", "kept_certificate", "make_certificate"]
