"""What the portal costs, measured beside what it is compared with: `make bench`."""
