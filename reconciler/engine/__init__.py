"""The engine: carries a commit through the eight hops, and keeps the record. Knows drivers by the contract alone."""
