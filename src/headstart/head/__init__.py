"""Linear heads on embeddings: closed-form ridge, multinomial logistic, a scikit-learn face. Numpy only."""
