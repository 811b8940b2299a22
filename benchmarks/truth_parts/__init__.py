"""Parts of the truth benchmark: known quantities, and what the product's own measuring makes of them."""
