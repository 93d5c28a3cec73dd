from gateway_fixtures import gateway, own_gateway, postgres, simulator, template, tenant

__all__ = ("gateway", "own_gateway", "postgres", "simulator", "template", "tenant")
