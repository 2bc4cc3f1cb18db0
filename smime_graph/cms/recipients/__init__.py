"""RecipientInfos (RFC 5652 6.2): the content key, wrapped for each recipient and unwrapped by one.

One module for each kind; `kinds` is their table and the way in.
"""
