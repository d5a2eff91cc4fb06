from django.contrib import admin
from django.http import HttpRequest

from search.models import SearchDocument


@admin.register(SearchDocument)
class SearchDocumentAdmin(admin.ModelAdmin[SearchDocument]):
    """For looking only: documents are written by the apps whose objects they describe."""

    list_display = ["title", "kind", "object_id", "language", "updated_at"]
    list_filter = ["kind", "language"]
    search_fields = ["title", "object_id"]
    show_full_result_count = False
    exclude = ["vector"]
    readonly_fields = ["kind", "object_id", "language", "title", "tags", "body", "url", "updated_at"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False
