"""Rate limits: how much may be asked in any minute, and at once."""
