"""What every request passes: limits, middleware, authentication, rate limits, problems, paging."""
