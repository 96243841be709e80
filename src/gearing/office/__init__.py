"""The issuer's office: what accountants, auditors and holders are given, made from the journals alone."""
