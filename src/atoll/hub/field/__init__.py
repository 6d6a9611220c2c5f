"""The hub's end of the field bus: its two connections, who is a member, and the credentials of members.

Owns enrolment, signing, renewal and revocation. It must not know what members report or are told to do.
"""
