"""Earlier down-sampling: fewer places from the stem on, and what has to change with them."""
