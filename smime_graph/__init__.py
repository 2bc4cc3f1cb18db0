"""smime_graph: sign and encrypt mail (S/MIME 4.0) and submit it through Microsoft Graph."""

__version__ = "0.1.0"
