"""Files as a source of a gateway: found in folders, sent in chunks, announced as readings, tidied up afterwards.

Owns everything between a watched folder and the outbox. It must not know MQTT.
"""
