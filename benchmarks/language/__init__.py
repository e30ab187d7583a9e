"""Language models: small ones are trained here, since none can be downloaded, and pruned by every criterion."""
