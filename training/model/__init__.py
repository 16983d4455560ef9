"""The model that is trained, exported and shipped."""

from training.model.architecture import Architecture, architecture_of, build_backbone
from training.model.attention import AdditiveAttention
from training.model.click_model import ClickModel
from training.model.news_encoder import NewsEncoder, NewsEncoding
from training.model.student import Student, TeacherStudent, build_student, pair_with_teacher
from training.model.topic_head import TopicHead
from training.model.user_encoder import UserEncoder

__all__ = [
    "AdditiveAttention",
    "Architecture",
    "ClickModel",
    "NewsEncoder",
    "NewsEncoding",
    "Student",
    "TeacherStudent",
    "TopicHead",
    "UserEncoder",
    "architecture_of",
    "build_backbone",
    "build_student",
    "pair_with_teacher",
]
