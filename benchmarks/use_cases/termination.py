"""Which employees of a retailer will be gone within the year: the public set "MFG 10-year termination"."""

from typing import Annotated, Literal

from pydantic import Field

from forewarn.answers import Example
from forewarn.fields import RowModel, called
from forewarn.sampling import by_schema
from forewarn.tasks import Classification
from forewarn.usecase import Cleaning, UseCase

Department = Literal[
    "Accounting", "Accounts Payable", "Accounts Receiveable", "Audit", "Bakery", "Compensation", "Customer Service",
    "Dairy", "Employee Records", "Executive", "HR Technology", "Information Technology", "Investment",
    "Labor Relations", "Legal", "Meats", "Processed Foods", "Produce", "Recruitment", "Store Management", "Training",
]  # fmt: skip


class Employee(RowModel):
    """What is known of somebody at the end of a year."""

    employee: Annotated[
        str | None, Field(validation_alias=called("EmployeeID"), coerce_numbers_to_str=True, max_length=64)
    ] = None
    age: Annotated[int, Field(ge=14, le=100, description="years")]
    service: Annotated[int, Field(validation_alias=called("length_of_service"), ge=0, le=80, description="years")]
    department: Annotated[Department, Field(validation_alias=called("department_name"))]
    store: Annotated[int, Field(validation_alias=called("store_name"), ge=0, le=1000)]
    unit: Annotated[Literal["STORES", "HEADOFFICE"], Field(validation_alias=called("BUSINESS_UNIT"))]
    gender: Annotated[Literal["M", "F"], Field(validation_alias=called("gender_short"))]


USE_CASE = UseCase(
    name="termination",
    title="Which employees will be gone",
    row=Employee,
    target="STATUS",
    task=Classification(event="TERMINATED", verdicts=("Stays", "Leaves")),
    sample=by_schema(Employee, target="STATUS", words=("ACTIVE", "TERMINATED")),
    key="employee",
    protected=frozenset({"gender"}),
    cleaning=Cleaning(unique_key=False),
    horizon_days=365,
    examples=(
        Example(
            name="Somebody near the age of retirement",
            row={"EmployeeID": 1318, "age": 60, "length_of_service": 17, "department_name": "Executive",
                 "store_name": 35, "BUSINESS_UNIT": "HEADOFFICE", "gender_short": "M"},
        ),
    ),
)  # fmt: skip
