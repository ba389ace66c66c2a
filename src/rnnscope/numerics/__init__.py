"""Functions of tensors and arrays that know none of our types."""
