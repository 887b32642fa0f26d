"""How the automatic values of settings were chosen: the data sets, the models compared, and the rule fitted on them."""
