"""Credits that are bought: by wallet over x402, by card over Stripe."""
