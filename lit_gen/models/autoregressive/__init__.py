"""Models by the chain rule: p(x) is the product of what each part is given those before it."""
