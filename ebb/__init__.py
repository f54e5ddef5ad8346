"""What every room of Ebb shares: settings, contracts on the wire, clock, logging, metrics, and the command line."""

__version__ = "0.1.0"
