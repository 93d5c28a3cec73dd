"""What happens, told to webhooks: signed, sent again, given up."""
