from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("usage", "0015_code_of_key_budgets")]

    operations = [
        migrations.AlterField(
            model_name="budgetalert",
            name="counter",
            field=models.CharField(max_length=300, verbose_name="counter"),
        ),
        migrations.AddConstraint(
            model_name="budgetalert",
            constraint=models.UniqueConstraint(fields=("counter", "percent"), name="budget_alert_once"),
        ),
    ]
