"""What rules can say of texts: which are nearly the same, and which speak of a picture."""
