"""One benchmark per promise, each against a floor measured in the same run (`alcor bench NAME`)."""
