from cbs.platform.connections import Connections

CONNECTIONS = Connections(service="customers", serves=("standing",))
