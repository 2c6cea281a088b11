"""The torchvision wheel on PyPI links CUDA libraries, so beside torch+cpu its compiled part cannot
load and `import torchvision` dies with "operator torchvision::nms does not exist". Its Python part
(transforms.v2, what transformers and vLLM use to resize) works once those operators are declared;
decode_image, which transformers serve calls, is done by Pillow instead.
Install into a virtual environment:   VENV/bin/python torchvision_shim.py --install
"""

import importlib.abc
import importlib.util
import sys


def _decode_image(data, mode=None, *args, **kwargs):
    import io
    import numpy
    import torch
    from PIL import Image

    image = Image.open(io.BytesIO(bytes(data.numpy()))).convert("RGB")
    return torch.from_numpy(numpy.array(image)).permute(2, 0, 1).contiguous()


class _Shim(importlib.abc.MetaPathFinder):
    lib = None

    def find_spec(self, name, path=None, target=None):
        if name == "torchvision" and _Shim.lib is None:
            import torch

            _Shim.lib = torch.library.Library("torchvision", "DEF")
            _Shim.lib.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _Shim.lib.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        elif name == "torchvision.io.image":
            sys.meta_path.remove(self)
            spec = importlib.util.find_spec(name)
            run = spec.loader.exec_module

            def exec_module(module):
                run(module)
                module.decode_image = _decode_image

            spec.loader.exec_module = exec_module
            return spec
        return None


if __name__ == "__main__" and "--install" in sys.argv:
    import pathlib
    import shutil
    import sysconfig

    site = pathlib.Path(sysconfig.get_paths()["purelib"])
    shutil.copy(__file__, site / "torchvision_shim.py")
    (site / "torchvision_shim.pth").write_text("import torchvision_shim\n")
    print("installed in", site)
else:
    sys.meta_path.insert(0, _Shim())
