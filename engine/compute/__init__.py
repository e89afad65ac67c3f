"""Where a run trains: on this machine, or on one that is rented for it. No torch."""
