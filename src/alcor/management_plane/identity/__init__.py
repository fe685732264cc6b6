"""Who calls: headers that are believed, access tokens, or Keystone."""
