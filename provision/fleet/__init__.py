"""What runs across nodes after they were provisioned: audits pulled, kept, compared and shown."""
