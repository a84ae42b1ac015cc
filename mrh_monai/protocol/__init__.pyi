from .channel import SHORTEST as SHORTEST, UNWEIGHTED_BELOW as UNWEIGHTED_BELOW, Channel as Channel, shells_of as shells_of
from .mr_protocol import ChannelGroup as ChannelGroup, MRProtocol as MRProtocol
from .mrh_net import MRH_NET as MRH_NET, MT_OFF as MT_OFF, MT_ON as MT_ON, T2 as T2
