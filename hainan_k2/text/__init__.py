"""Text: its normal form, and the tokenizer. Importing this package is light: sentencepiece loads with a tokenizer.

>>> from hainan_k2.text import Tokenizer, normalise
>>> normalise("Call Dr. Smith at 10:30!")
'call doctor smith at ten thirty'
"""

from hainan_k2.named_functions import allow_function
from hainan_k2.text.normalisation import Normalisation
from hainan_k2.text.normalise import normalise
from hainan_k2.text.tokenizer import Tokenizer

__all__ = ["Normalisation", "Tokenizer", "allow_function", "normalise"]
