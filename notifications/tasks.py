from celery import shared_task

from notifications import services


@shared_task
def send(pk: int) -> None:
    services.send_mail(pk=pk)


@shared_task
def send_waiting() -> None:
    services.send_waiting()
