"""Two sentences that we wrote, each in ten languages and six scripts."""

WATER = {
    "en": "The water is cold today.",
    "de": "Das Wasser ist heute kalt.",
    "fr": "L'eau est froide aujourd'hui.",
    "es": "El agua está fría hoy.",
    "sw": "Maji ni baridi leo.",
    "id": "Airnya dingin hari ini.",
    "ar": "الماء بارد اليوم.",
    "hi": "आज पानी ठंडा है।",
    "am": "ውሃው ዛሬ ቀዝቃዛ ነው።",
    "zh": "今天的水很冷。",
}

BOOK = {
    "en": "She reads a book to the children.",
    "de": "Sie liest den Kindern ein Buch vor.",
    "fr": "Elle lit un livre aux enfants.",
    "es": "Ella les lee un libro a los niños.",
    "sw": "Anawasomea watoto kitabu.",
    "id": "Dia membacakan buku untuk anak-anak.",
    "ar": "هي تقرأ كتابًا للأطفال.",
    "hi": "वह बच्चों को किताब पढ़कर सुनाती है।",
    "am": "ለልጆቹ መጽሐፍ ታነባለች።",
    "zh": "她给孩子们读书。",
}

ALL = [*WATER.values(), *BOOK.values()]
