"""One pass of the frozen backbone over many pictures, with a content-addressed cache."""
