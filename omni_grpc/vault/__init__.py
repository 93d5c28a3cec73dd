"""Providers' credentials of tenants, sealed."""
