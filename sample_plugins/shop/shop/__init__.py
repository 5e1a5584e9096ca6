"""A small shop that lets plugins have a say in its prices: the sample host of plugreg."""
