from .mr_protocol import (
    MRH_NET as MRH_NET,
    MT_OFF as MT_OFF,
    MT_ON as MT_ON,
    SHELL_GAP as SHELL_GAP,
    T2 as T2,
    UNWEIGHTED_BELOW as UNWEIGHTED_BELOW,
    Channel as Channel,
    MRProtocol as MRProtocol,
    channel_from as channel_from,
)
