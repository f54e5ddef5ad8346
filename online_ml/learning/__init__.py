"""The deterministic fold: align, judge, learn, choose."""
