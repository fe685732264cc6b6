"""The Open vSwitch data plane: flows to OpenFlow bytes, the two connections to a switch, and the driver."""
