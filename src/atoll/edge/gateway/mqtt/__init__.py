"""The lab's MQTT broker: batches of messages come out, acknowledgements go in.

Owns the connection: a persistent session under a fixed client id, QoS 1 with acknowledgements by hand, MQTT 5 or 3.1.1,
reconnecting for ever. Two drivers stand behind one interface (`link.Link`): paho-mqtt, and a receiver of our own that
costs a tenth of its CPU. It must not know Streams or the outbox.
"""

from atoll.edge.gateway.mqtt.broker import Broker
from atoll.edge.gateway.mqtt.inbox import Batch
from atoll.edge.gateway.mqtt.settings import BrokerAddress, BrokerSettings, Receiver, Session

__all__ = ["Batch", "Broker", "BrokerAddress", "BrokerSettings", "Receiver", "Session"]
