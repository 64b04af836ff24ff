"""Declarations of the sets whose pictures lie as files: ImageNet-1K and ten of the thirteen of Table 3."""

from benchmarks.data.classification import readers
from benchmarks.data.classification.split import ClassificationDataSet
from benchmarks.data.presence import Presence
from benchmarks.download import Download

_ROBOTS = "https://www.robots.ox.ac.uk/~vgg"
_OPENAI = "https://openaipublic.azureedge.net/clip/data"
_GTSRB = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370"
_KITTI = "https://s3.eu-central-1.amazonaws.com/avg-kitti"


def _folder_of_variant(variant: str) -> str:
    """What SLIP's converter makes of an aircraft's name: a name of a folder."""
    return variant.replace("/", "-").replace(" ", "-")


FILES = (
    ClassificationDataSet(
        name="imagenet",
        title="ImageNet-1K, 1,000 classes",
        splits={"val": 50_000},
        read=readers.class_folders("{split}"),
        layout="val/<WordNet id>/*.JPEG",
        presence=Presence(("val/n01440764",), {"val": 50_000}),
        homepage="https://image-net.org",
        licence="non-commercial research and education, after registration",
        by_hand=(
            "register at image-net.org, fetch ILSVRC2012_img_val.tar (md5 29b22e2961454d5413ddabcf34fc5622) and "
            "ILSVRC2012_devkit_t12.tar.gz (md5 fa75699e90414af021442c21a62c3abf) into one folder; "
            "torchvision.datasets.ImageNet(folder, 'val') sorts the pictures into folders by WordNet id"
        ),
        note="a set with fewer than half of the class folders is a subset, scored against all 1,000 classes",
    ),
    ClassificationDataSet(
        name="sun397",
        title="SUN397, 397 scenes",
        splits={"testing_01": 19_850, "slip": 0},
        read=readers.read_sun397,
        layout="SUN397/ClassName.txt, SUN397/Testing_01.txt and SUN397/<letter>/<class>/*.jpg",
        presence=Presence(("SUN397/ClassName.txt", "SUN397/Testing_01.txt"), {"SUN397": 108_754}),
        homepage="https://vision.princeton.edu/projects/2010/SUN/",
        licence="research purposes only",
        downloads=(
            Download(
                "http://vision.princeton.edu/projects/2010/SUN/SUN397.tar.gz",
                "SUN397.tar.gz",
                md5="8ca2778205c41d23104230ba66911c7a",
            ),
            Download("https://vision.princeton.edu/projects/2010/SUN/download/Partitions.zip", "SUN397/Partitions.zip"),
        ),
        note=(
            "testing_01 is the first official partition. SLIP's builder shuffles each class as the file system lists "
            "it, seed 0, and tests on 20 %: not to be had again; slip does the same with sorted names"
        ),
    ),
    ClassificationDataSet(
        name="aircraft",
        title="FGVC-Aircraft, 100 variants",
        splits={"test": 3_333},
        read=readers.read_aircraft,
        layout="fgvc-aircraft-2013b/data/{variants.txt,images_variant_test.txt,images/*.jpg}",
        presence=Presence(("fgvc-aircraft-2013b/data/variants.txt",), {"fgvc-aircraft-2013b/data/images": 10_000}),
        homepage=f"{_ROBOTS}/data/fgvc-aircraft/",
        licence="non-commercial research",
        downloads=(
            Download(f"{_ROBOTS}/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz", "fgvc-aircraft-2013b.tar.gz"),
        ),
        note="SLIP's folders have '-' for '/' and ' ', which sorts three classes differently from its list of names",
        folder_of=_folder_of_variant,
    ),
    ClassificationDataSet(
        name="dtd",
        title="Describable Textures, 47 classes",
        splits={"test": 1_880},
        read=readers.read_dtd,
        layout="dtd/labels/test1.txt and dtd/images/<class>/*.jpg",
        presence=Presence(("dtd/labels/test1.txt|dtd/dtd/labels/test1.txt",), {"dtd/images|dtd/dtd/images": 5_640}),
        homepage=f"{_ROBOTS}/data/dtd/",
        licence="research purposes",
        downloads=(
            Download(
                f"{_ROBOTS}/data/dtd/download/dtd-r1.0.1.tar.gz",
                "dtd-r1.0.1.tar.gz",
                md5="fff73e5086ae6bdbea199a49dfb8a4c1",
            ),
        ),
        note="the first of ten partitions",
    ),
    ClassificationDataSet(
        name="pets",
        title="Oxford-IIIT Pet, 37 breeds",
        splits={"test": 3_669},
        read=readers.read_pets,
        layout="oxford-iiit-pet/annotations/test.txt and oxford-iiit-pet/images/*.jpg",
        presence=Presence(("oxford-iiit-pet/annotations/test.txt",), {"oxford-iiit-pet/images": 7_390}),
        homepage=f"{_ROBOTS}/data/pets/",
        licence="CC BY-SA 4.0",
        downloads=(
            Download(
                f"{_ROBOTS}/data/pets/data/images.tar.gz",
                "oxford-iiit-pet/images.tar.gz",
                md5="5c4f3ee8e5d25df40f4fd59a7f44e54c",
            ),
            Download(
                f"{_ROBOTS}/data/pets/data/annotations.tar.gz",
                "oxford-iiit-pet/annotations.tar.gz",
                md5="95a8c909bbe2e81eed6a22bccdf3f68f",
            ),
        ),
        note="labels in the order of the sorted folders: the cats, which are capitalised, come first",
    ),
    ClassificationDataSet(
        name="flowers",
        title="Oxford Flowers, 102 classes",
        splits={"test": 6_149},
        read=readers.read_flowers,
        layout="flowers-102/{setid.mat,imagelabels.mat,jpg/*.jpg}",
        presence=Presence(("flowers-102/setid.mat", "flowers-102/imagelabels.mat"), {"flowers-102/jpg": 8_189}),
        homepage=f"{_ROBOTS}/data/flowers/102/",
        licence="none stated; research use is customary",
        downloads=tuple(
            Download(f"{_ROBOTS}/data/flowers/102/{file}", f"flowers-102/{file}", md5=md5)
            for file, md5 in (
                ("102flowers.tgz", "52808999861908f626f3c1f4e79d11fa"),
                ("imagelabels.mat", "e0620be6f572b9609742df49c70aed4d"),
                ("setid.mat", "a5357ecc9cb78c4bef273ce3793fc85c"),
            )
        ),
        note="SLIP's folders 1 to 102 sort as text (1, 10, 100, ...), and then 11 of 102 classes keep their names",
    ),
    ClassificationDataSet(
        name="gtsrb",
        title="German Traffic Sign Recognition Benchmark, 43 signs",
        splits={"test": 12_630},
        read=readers.read_gtsrb,
        layout="gtsrb/GT-final_test.csv and gtsrb/GTSRB/Final_Test/Images/*.ppm",
        presence=Presence(("gtsrb/GT-final_test.csv",), {"gtsrb/GTSRB/Final_Test/Images": 12_630}),
        homepage="https://benchmark.ini.rub.de/gtsrb_news.html",
        licence="none stated; free for research",
        downloads=(
            Download(
                f"{_GTSRB}/GTSRB_Final_Test_Images.zip",
                "gtsrb/GTSRB_Final_Test_Images.zip",
                md5="c7e4e6327067d32654124b0fe9e82185",
            ),
            Download(
                f"{_GTSRB}/GTSRB_Final_Test_GT.zip",
                "gtsrb/GTSRB_Final_Test_GT.zip",
                md5="fe31e9c9270bbcd7b84b7f21a9d9d9e5",
            ),
        ),
    ),
    ClassificationDataSet(
        name="kitti",
        title="KITTI, distance of the nearest vehicle, 4 classes",
        splits={"slip": 1_496, "vtab": 711},
        read=readers.read_kitti,
        layout="Kitti/raw/training/image_2/*.png and Kitti/raw/training/label_2/*.txt",
        presence=Presence(("Kitti/raw/training/label_2",), {"Kitti/raw/training/image_2": 7_481}),
        homepage="https://www.cvlibs.net/datasets/kitti/eval_object.php?obj_benchmark",
        licence="CC BY-NC-SA 3.0",
        downloads=tuple(
            Download(f"{_KITTI}/{file}", f"Kitti/raw/{place}{file}")
            for place, file in (
                ("", "data_object_image_2.zip"),
                ("", "data_object_label_2.zip"),
                ("devkit/", "devkit_object.zip"),
            )
        ),
        note=(
            "SLIP's builder draws its fifth of the 7,481 training pictures without a seed, so that its split cannot be "
            "had again: slip draws with a seed. vtab is TensorFlow Datasets' test split, by video"
        ),
    ),
    ClassificationDataSet(
        name="country211",
        title="Country211, 211 countries",
        splits={"test": 21_100},
        read=readers.class_folders("country211/{split}"),
        layout="country211/test/<ISO code>/*.jpg",
        presence=Presence((), {"country211/test": 21_100}),
        homepage="https://github.com/openai/CLIP/blob/main/data/country211.md",
        licence="Creative Commons, as each picture of YFCC100M states",
        downloads=(Download(f"{_OPENAI}/country211.tgz", "country211.tgz", md5="84988d7644798601126c29e9877aab6a"),),
    ),
    ClassificationDataSet(
        name="clevr",
        title="CLEVR, number of objects, 8 classes",
        splits={"val": 15_000},
        read=readers.read_clevr,
        layout="clevr/CLEVR_v1.0/scenes/CLEVR_val_scenes.json and clevr/CLEVR_v1.0/images/val/*.png",
        presence=Presence(("clevr/CLEVR_v1.0/scenes/CLEVR_val_scenes.json",), {"clevr/CLEVR_v1.0/images/val": 15_000}),
        homepage="https://cs.stanford.edu/people/jcjohns/clevr/",
        licence="CC BY 4.0",
        downloads=(
            Download(
                "https://dl.fbaipublicfiles.com/clevr/CLEVR_v1.0.zip",
                "clevr/CLEVR_v1.0.zip",
                md5="b11922020e72d0cd9154779b2d3d07d2",
            ),
        ),
        note="all validation pictures, as SLIP",
    ),
    ClassificationDataSet(
        name="sst2",
        title="Rendered SST2, 2 classes",
        splits={"test": 1_821},
        read=readers.class_folders("rendered-sst2/{split}"),
        layout="rendered-sst2/test/{negative,positive}/*.png",
        presence=Presence((), {"rendered-sst2/test": 1_821}),
        homepage="https://github.com/openai/CLIP/blob/main/data/rendered-sst2.md",
        licence="none stated",
        downloads=(
            Download(f"{_OPENAI}/rendered-sst2.tgz", "rendered-sst2.tgz", md5="2384d08e9dcfa4bd55b324e610496ee5"),
        ),
    ),
)
"""ImageNet-1K first, then the sets in the order of Table 3."""
