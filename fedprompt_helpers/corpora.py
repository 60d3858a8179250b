"""What each published corpus is: labels, languages, row counts, columns of its files and of its copy on the hub.

Sources of labels and row counts: for MasakhaNEWS and XNLI their data cards on the hub, and real files of five and three
languages; for SIB-200 and XGLUE the counts that the hub shows of the data sets and of ports of them.
"""

import dataclasses

from .tables import SPLITS


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Where a corpus is and what it must be like.

    Attributes
    ----------
    task, title, about : str
        The task's name; the corpus with its authors; one line for a list of tasks.
    columns : dict of str to str
        Columns of a file: the name here, and the name in the file's header.
    labels : tuple of str
        All labels in order. Empty: those of the training files.
    folder, file : str
        Folder in a local mirror, and path of a file in it.
    reads : tuple of str
        The splits to read; what is missing of train, dev and test is split off them.
    spare : str
        The split whose file may be missing.
    fields : dict of str to tuple of str
        For each choice of `text_field`, the columns that make the text. The first is the default.
    hub, config, revision, dev : str
        Data set on the hub, its configuration, revision, and name of the dev split there.
    hub_columns : dict of str to str
        Like `columns`, on the hub.
    rows : dict of str to tuple of int
        For each language on the hub the rows of the splits in `reads`; an empty tuple where they are not known.
    optional : tuple of str
        Columns that a file may have.
    header, quoted : bool
        See ``read_table``.
    """

    task: str
    title: str
    about: str
    columns: dict[str, str]
    labels: tuple[str, ...] = ()
    folder: str = ""
    file: str = "{language}/{split}.tsv"
    reads: tuple[str, ...] = SPLITS
    spare: str = "dev"
    fields: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    hub: str = ""
    config: str = "{language}"
    revision: str | None = None
    dev: str = "validation"
    hub_columns: dict[str, str] = dataclasses.field(default_factory=dict)
    rows: dict[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    optional: tuple[str, ...] = ()
    header: bool = True
    quoted: bool = True


XNLI = "ar bg de el en es fr hi ru sw th tr ur vi zh"
SIB200 = """
ace_Arab ace_Latn acm_Arab acq_Arab aeb_Arab afr_Latn ajp_Arab aka_Latn als_Latn amh_Ethi apc_Arab arb_Arab arb_Latn
ars_Arab ary_Arab arz_Arab asm_Beng ast_Latn awa_Deva ayr_Latn azb_Arab azj_Latn bak_Cyrl bam_Latn ban_Latn bel_Cyrl
bem_Latn ben_Beng bho_Deva bjn_Arab bjn_Latn bod_Tibt bos_Latn bug_Latn bul_Cyrl cat_Latn ceb_Latn ces_Latn cjk_Latn
ckb_Arab crh_Latn cym_Latn dan_Latn deu_Latn dik_Latn dyu_Latn dzo_Tibt ell_Grek eng_Latn epo_Latn est_Latn eus_Latn
ewe_Latn fao_Latn fij_Latn fin_Latn fon_Latn fra_Latn fur_Latn fuv_Latn gaz_Latn gla_Latn gle_Latn glg_Latn grn_Latn
guj_Gujr hat_Latn hau_Latn heb_Hebr hin_Deva hne_Deva hrv_Latn hun_Latn hye_Armn ibo_Latn ilo_Latn ind_Latn isl_Latn
ita_Latn jav_Latn jpn_Jpan kab_Latn kac_Latn kam_Latn kan_Knda kas_Arab kas_Deva kat_Geor kaz_Cyrl kbp_Latn kea_Latn
khk_Cyrl khm_Khmr kik_Latn kin_Latn kir_Cyrl kmb_Latn kmr_Latn knc_Arab knc_Latn kon_Latn kor_Hang lao_Laoo lij_Latn
lim_Latn lin_Latn lit_Latn lmo_Latn ltg_Latn ltz_Latn lua_Latn lug_Latn luo_Latn lus_Latn lvs_Latn mag_Deva mai_Deva
mal_Mlym mar_Deva min_Arab min_Latn mkd_Cyrl mlt_Latn mni_Beng mos_Latn mri_Latn mya_Mymr nld_Latn nno_Latn nob_Latn
npi_Deva nqo_Nkoo nso_Latn nus_Latn nya_Latn oci_Latn ory_Orya pag_Latn pan_Guru pap_Latn pbt_Arab pes_Arab plt_Latn
pol_Latn por_Latn prs_Arab quy_Latn ron_Latn run_Latn rus_Cyrl sag_Latn san_Deva sat_Olck scn_Latn shn_Mymr sin_Sinh
slk_Latn slv_Latn smo_Latn sna_Latn snd_Arab som_Latn sot_Latn spa_Latn srd_Latn srp_Cyrl ssw_Latn sun_Latn swe_Latn
swh_Latn szl_Latn tam_Taml taq_Latn taq_Tfng tat_Cyrl tel_Telu tgk_Cyrl tgl_Latn tha_Thai tir_Ethi tpi_Latn tsn_Latn
tso_Latn tuk_Latn tum_Latn tur_Latn twi_Latn tzm_Tfng uig_Arab ukr_Cyrl umb_Latn urd_Arab uzn_Latn vec_Latn vie_Latn
war_Latn wol_Latn xho_Latn ydd_Hebr yor_Latn yue_Hant zho_Hans zho_Hant zsm_Latn zul_Latn
"""

CORPORA = {
    corpus.task: corpus
    for corpus in (
        Corpus(
            task="masakhanews",
            title="MasakhaNEWS (Adelani et al. 2023)",
            about="topic of a news article, 7 labels, 16 languages spoken in Africa",
            labels=("business", "entertainment", "health", "politics", "religion", "sports", "technology"),
            columns={"headline": "headline", "text": "text", "label": "category"},
            folder="masakhanews",
            fields={"headline": ("headline",), "text": ("text",), "both": ("headline", "text")},
            hub="masakhane/masakhanews",
            revision="refs/convert/parquet",
            hub_columns={"headline": "headline", "text": "text", "label": "label"},
            rows={
                "amh": (1311, 188, 376), "eng": (3309, 472, 948), "fra": (1476, 211, 422), "hau": (2219, 317, 637),
                "ibo": (1356, 194, 390), "lin": (608, 87, 175), "lug": (771, 110, 223),
                "orm": (),  # the data card says 1,015/145/292, the hub's own count of all three is about 1,620
                "pcm": (1060, 152, 305), "run": (1117, 159, 322), "sna": (1288, 185, 369), "som": (1021, 148, 294),
                "swa": (1658, 237, 476), "tir": (947, 137, 272), "xho": (1032, 147, 297), "yor": (1433, 206, 411),
            },
        ),
        Corpus(
            task="xnli",
            title="XNLI (Conneau et al. 2018)",
            about="whether one sentence follows from another, 3 labels, 15 languages",
            labels=("entailment", "neutral", "contradiction"),
            columns={"text": "sentence1_{language}", "text_pair": "sentence2_{language}", "label": "label"},
            folder="xnli",
            spare="train",
            quoted=False,
            hub="facebook/xnli",
            hub_columns={"text": "premise", "text_pair": "hypothesis", "label": "label"},
            rows=dict.fromkeys(XNLI.split(), (392_702, 2_490, 5_010)),
        ),
        Corpus(
            task="xglue-nc",
            title="XGLUE news classification (Liang et al. 2020), its dev files alone",
            about="topic of a news article, 10 labels, 5 languages of Europe",
            labels=("autos", "entertainment", "finance", "foodanddrink", "health", "lifestyle", "news", "sports",
                    "travel", "video"),
            columns={"title": "title", "body": "body", "label": "category"},
            folder="xglue",
            file="xglue.nc.{language}.{split}",
            header=False,
            quoted=False,
            reads=("dev",),
            spare="",
            fields={"both": ("title", "body"), "title": ("title",), "body": ("body",)},
            hub="hgissbkh/xglue",
            config="nc",
            dev="validation.{language}",
            hub_columns={"title": "news_title", "body": "news_body", "label": "news_category"},
            rows=dict.fromkeys(("en", "es", "fr", "de", "ru"), (10_000,)),
        ),
        Corpus(
            task="sib200",
            title="SIB-200 (Adelani et al. 2024)",
            about="topic of a sentence, 7 labels, 205 languages and scripts",
            labels=("entertainment", "geography", "health", "politics", "science/technology", "sports", "travel"),
            columns={"text": "text", "label": "category"},
            folder="sib200",
            hub="Davlan/sib200",
            hub_columns={"text": "text", "label": "category"},
            rows=dict.fromkeys(SIB200.split(), (701, 99, 204)),
        ),
        Corpus(
            task="tsv",
            title="your own data",
            about="your own folder, one language/{train,dev,test}.tsv a language, with columns text, label, text_pair",
            columns={"text": "text", "label": "label"},
            optional=("text_pair",),
            folder="tsv",
        ),
    )
}  # fmt: skip
