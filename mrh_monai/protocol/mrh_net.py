"""The published protocol of MRH-Net: 67 MR images of one ex vivo mouse brain."""

from __future__ import annotations

from collections.abc import Sequence

from mrh_monai.protocol.channel import UNWEIGHTED_BELOW, Channel
from mrh_monai.protocol.mr_protocol import MRProtocol

# Effective b-value in s/mm^2 and gradient direction (x, y, z) of each volume of the two shells, from the ParaVision
# `method` files published with MRH-Net (PVM_DwEffBval, PVM_DwDir normalised to length 1). The files' names say 2000
# and 5000, the effective values are near 1900 and 4800; an unweighted volume still sees 43.5 from the imaging gradients.
SHELL_2000 = (
    (43.5, 0.0000, 0.0000, 0.0000),
    (43.5, 0.0000, 0.0000, 0.0000),
    (1914.9, 0.2253, 0.0476, 0.9731),
    (1902.9, -0.2618, 0.1776, 0.9486),
    (1911.0, -0.1140, -0.3178, 0.9413),
    (1900.4, 0.3380, -0.3739, 0.8637),
    (1900.4, 0.2475, 0.4635, 0.8508),
    (1901.2, -0.1878, 0.5846, 0.7893),
    (1903.5, -0.5346, -0.1736, 0.8271),
    (1900.3, -0.4548, -0.5965, 0.6613),
    (1915.1, 0.0281, -0.7133, 0.7003),
    (1900.3, 0.7059, -0.2119, 0.6759),
    (1900.3, 0.6561, 0.2297, 0.7189),
    (1912.6, 0.0922, 0.8448, 0.5272),
    (1900.3, -0.5537, 0.5995, 0.5779),
    (1900.3, -0.7272, 0.2043, 0.6553),
    (1900.2, -0.8326, -0.2327, 0.5026),
    (1914.3, 0.0583, -0.9445, 0.3233),
    (1900.2, 0.5156, -0.6605, 0.5458),
    (1914.4, 0.9445, -0.0537, 0.3241),
    (1900.1, 0.8567, 0.4191, 0.3008),
    (1900.2, 0.5212, 0.6616, 0.5391),
    (1900.1, -0.3009, 0.9092, 0.2876),
    (1904.1, -0.7231, 0.6701, 0.1677),
    (1900.1, -0.9372, 0.2659, 0.2255),
    (1900.1, -0.7850, -0.5833, 0.2086),
    (1900.1, -0.4027, -0.8586, 0.3171),
    (1906.2, 0.4583, -0.8755, 0.1530),
    (1900.1, 0.8402, -0.4883, 0.2359),
    (1920.7, 0.9863, 0.1501, -0.0684),
    (1909.9, 0.5746, 0.8093, 0.1219),
    (1920.9, 0.1346, 0.9867, 0.0910),
)
SHELL_5000 = (
    (43.5, 0.0000, 0.0000, 0.0000),
    (43.5, 0.0000, 0.0000, 0.0000),
    (4814.3, 0.2310, 0.0448, 0.9719),
    (4800.7, -0.2538, 0.1804, 0.9503),
    (4801.5, -0.1182, -0.3137, 0.9421),
    (4800.6, 0.3363, -0.3791, 0.8621),
    (4800.6, 0.2433, 0.4616, 0.8531),
    (4800.6, -0.1868, 0.5881, 0.7869),
    (4800.6, -0.5272, -0.1685, 0.8329),
    (4800.5, -0.4638, -0.5917, 0.6594),
    (4815.3, 0.0130, -0.7126, 0.7015),
    (4800.5, 0.7077, -0.2197, 0.6715),
    (4800.5, 0.6591, 0.2214, 0.7187),
    (4805.2, 0.1021, 0.8442, 0.5262),
    (4800.4, -0.5593, 0.6000, 0.5720),
    (4800.5, -0.7260, 0.2153, 0.6532),
    (4800.4, -0.8370, -0.2329, 0.4951),
    (4811.5, 0.0663, -0.9429, 0.3263),
    (4800.4, 0.5065, -0.6686, 0.5445),
    (4813.5, 0.9435, -0.0484, 0.3278),
    (4800.2, 0.8547, 0.4260, 0.2968),
    (4800.4, 0.5264, 0.6564, 0.5404),
    (4800.2, -0.2999, 0.9080, 0.2927),
    (4800.1, -0.7295, 0.6634, 0.1666),
    (4800.2, -0.9381, 0.2634, 0.2249),
    (4800.2, -0.7850, -0.5814, 0.2138),
    (4800.2, -0.3930, -0.8619, 0.3205),
    (4800.1, 0.4628, -0.8745, 0.1449),
    (4800.2, 0.8401, -0.4844, 0.2441),
    (4810.4, 0.9841, 0.1605, -0.0757),
    (4800.1, 0.5688, 0.8123, 0.1288),
    (4807.4, 0.1293, 0.9875, 0.0903),
)
# Minutes of scanning, from the same files (PVM_ScanTime, for a shell over its 32 repetitions): a diffusion volume takes TR 320 ms x 2
# averages x 936 shots, each of the three other images takes TR 800 ms x 2 averages x 2,340 shots.
DWI_MINUTES, OTHER_MINUTES = 9.984, 62.4
T2, MT_ON, MT_OFF = "t2", "mt_on", "mt_off"


def _shell(prefix: str, table: Sequence[tuple[float, float, float, float]]) -> list[Channel]:
    channels = []
    for index, (b_value, x, y, z) in enumerate(table):
        unweighted = b_value < UNWEIGHTED_BELOW
        name = f"{prefix}_{'b0' if unweighted else 'dir'}_{index + 1 if unweighted else index - 1:02d}"
        channels.append(Channel(name, b_value, None if unweighted else (x, y, z), DWI_MINUTES))
    return channels


# Liang et al., eLife 2022;11:e72331: two diffusion shells of 2 + 30 volumes, then the T2-weighted image (TE 50 ms) and the pair with and
# without magnetization transfer (offset -3 kHz at 20 uT, TE 8 ms). The README of MRH-Net calls the last two "non-MT, MT", its file name
# `t2MTONOFF` says on before off, and the brighter image of the pair must be the one with MT off.
MRH_NET = MRProtocol(
    (
        *_shell("dwi2000", SHELL_2000),
        *_shell("dwi5000", SHELL_5000),
        *(Channel(name, minutes=OTHER_MINUTES) for name in (T2, MT_ON, MT_OFF)),
    )
)
