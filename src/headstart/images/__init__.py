"""One picture: open it safely, make it the square array that a backbone sees."""
