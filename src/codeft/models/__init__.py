"""Code pre-trained models behind one interface, one file a family."""
